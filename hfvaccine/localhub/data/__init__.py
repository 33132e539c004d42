"""What is kept in the database: repos, accounts, access, discussions."""
