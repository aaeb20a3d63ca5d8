"""The harness of the box tests: real servers, started and ended by their own pid."""
