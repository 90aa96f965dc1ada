"""The stories: what happens, told through ports."""
