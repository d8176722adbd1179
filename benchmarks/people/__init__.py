"""How late and how often wrong, on recordings of people: real sound, real voice detection, a real ear."""
