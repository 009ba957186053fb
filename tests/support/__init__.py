"""What tests of several folders share: drawn data, small runs, oracles."""
