"""Whether our mail would arrive: what others see of our domain, mail servers and links."""
