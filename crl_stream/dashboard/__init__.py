"""The guide's safety dashboard, which shows people the page of ``crl.overview``."""
