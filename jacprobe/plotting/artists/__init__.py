"""What all figures are made of: hues, sizes, words, ticks, legends, bars of shares; it knows no quantity."""
