"""bdd_rain."""
