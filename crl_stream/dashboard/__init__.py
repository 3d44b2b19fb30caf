"""The guide's safety dashboard: shows people the page of ``crl.overview``."""
