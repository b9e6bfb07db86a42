"""Input made by somebody who means harm: runs, stores, adapters, models, studies."""
