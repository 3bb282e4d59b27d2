"""The pytest plugin: the fixture, the marker, and `pytest --gradscope`."""
