"""A short kill -9 campaign: see kill_campaign.py, which is also a command of its own."""
import unittest

from kill_campaign import Short  # noqa: F401

if __name__ == "__main__":
    unittest.main()
