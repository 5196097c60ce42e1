"""CLIPs and SigLIPs as transformers saves them: settings, weights in one file or several, words of a SentencePiece."""
