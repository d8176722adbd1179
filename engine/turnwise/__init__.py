"""turnwise tells a voicebot when its user has finished a turn, and what the user said."""
