"""Programs that run with the packages of requirements/openfeature.txt, and OpenFeature's own test suite."""
