"""Who is asking: logins, tokens and where they are kept, and their verification."""
