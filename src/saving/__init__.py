"""Options, report, calibration and model card of save_model.py."""
