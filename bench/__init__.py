"""Measurements. They write down what is; nothing here passes or fails."""
