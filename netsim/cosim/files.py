"""What the parts of a run's folder are called, the trace and the manifest apart."""

SCENARIO_FILE = "scenario.yaml"
ADAPTER_FOLDER = "adapter"
