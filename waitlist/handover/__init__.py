"""Handing over: the product is told by signed webhooks (Standard Webhooks 1.0.0), for sure.

A floor beneath the wings, as events happen in all of them.
"""
