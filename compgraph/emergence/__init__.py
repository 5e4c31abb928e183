"""Structure through training and through scale: tracking, aligned blocks, changes, lags, slopes."""
