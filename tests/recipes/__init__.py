"""Programs that ``test_recipes.py`` runs, each in an interpreter of its own, beside a file that CONTRIBUTING shows."""
