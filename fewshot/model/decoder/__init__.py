"""Decoders: from query features, prototype and maps to two logits per node. No batch normalisation anywhere.

Padding takes no part: it is zero before every convolution, as what lies beyond a grid's border is.
"""

from fewshot.model.decoder.aspp import ASPPDecoder
from fewshot.model.decoder.base import Decoded, Decoder, DecoderName
from fewshot.model.decoder.fem import FEMDecoder

__all__ = ["ASPPDecoder", "Decoded", "Decoder", "DecoderName", "FEMDecoder"]
