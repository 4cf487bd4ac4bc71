"""Who may reach what: rules, decisions and their explanations. Pure but for loading."""
