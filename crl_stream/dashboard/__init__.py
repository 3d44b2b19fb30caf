"""The safety dashboard of the guide: the one page of ``crl.overview``, for people."""
