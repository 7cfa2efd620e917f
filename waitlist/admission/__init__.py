"""Admission: the gate, its cohorts, and the waves that let people in."""
