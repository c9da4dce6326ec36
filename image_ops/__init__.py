"""Pure tensor functions that several layers share: colour, gradients, SSIM, padding, pyramids. Imports none of ours."""
