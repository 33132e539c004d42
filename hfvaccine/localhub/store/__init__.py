"""What is kept in files: git repositories, large files, and the chunks of Xet."""
