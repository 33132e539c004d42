"""Who may have a dose that one has published: requests, decisions by the rules of its policy, and the journal."""
