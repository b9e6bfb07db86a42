"""The rules of the house, each with one test that lists what breaks it."""
