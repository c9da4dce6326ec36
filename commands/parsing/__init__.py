"""From a command line and its YAML files to a configuration, or to one message that says what is wrong."""
