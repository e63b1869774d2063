"""The package's version, which a checkout that is not installed knows too."""

__version__ = "0.2.0.dev0"
