"""How much: limits, their windows and their arithmetic."""
