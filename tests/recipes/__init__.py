"""Tests that ``test_recipes.py`` runs, each in its own interpreter, together with an example from CONTRIBUTING."""
