"""CMNet, module by module; `cmnet.py` puts them together."""

from fewshot.model.backbone import Backbone, Features, build_backbone, load_backbone_weights
from fewshot.model.cmnet import CMNet
from fewshot.model.config import CMNetConfig
from fewshot.model.encoded import EncodedEpisode
from fewshot.model.matching_config import MatchingConfig
from fewshot.model.message_flow import MessageFlowConfig
from fewshot.model.prediction import Prediction

__all__ = [
    "Backbone",
    "CMNet",
    "CMNetConfig",
    "EncodedEpisode",
    "Features",
    "MatchingConfig",
    "MessageFlowConfig",
    "Prediction",
    "build_backbone",
    "load_backbone_weights",
]
