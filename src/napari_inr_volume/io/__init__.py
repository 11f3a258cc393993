"""Files: `.inr`, DICOM, NIfTI, TIFF, NumPy. Everything read here is checked here."""
