"""Ready scenarios, one YAML per capability."""
