"""``python -m crl_stream`` is the command ``crl``."""

from crl_stream.cli import main

if __name__ == "__main__":
    main()
