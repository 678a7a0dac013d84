"""Options of a recognition request."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

__all__ = ["Colormap", "ImageFormat", "Method", "Options"]


class Colormap(StrEnum):
    """Color map of the heatmap, from no evidence to the strongest evidence."""

    JET = "jet"
    TURBO = "turbo"
    VIRIDIS = "viridis"
    INFERNO = "inferno"
    MAGMA = "magma"
    PLASMA = "plasma"
    CIVIDIS = "cividis"
    HOT = "hot"


class Method(StrEnum):
    """Method that computes the heatmap from the features and the gradient of a score."""

    GRADCAM = "gradcam"
    HIRESCAM = "hirescam"
    LAYERCAM = "layercam"
    GRADCAM_PLUS_PLUS = "gradcam++"
    XGRADCAM = "xgradcam"


class ImageFormat(StrEnum):
    """Encoding of the returned image."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


class Options(BaseModel):
    """Options of one request; unknown names are rejected, so that a typo is not silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    top_k: int | None = Field(
        default=None,
        ge=1,
        description="How many classes to list, 1 to the number of classes; default: 5, or all if there are fewer.",
    )
    target: Annotated[StrictStr | StrictInt | None, Field(union_mode="left_to_right")] = Field(
        default=None, description="Class to explain, as label or index; default: the predicted class."
    )
    versus: Annotated[StrictStr | StrictInt | None, Field(union_mode="left_to_right")] = Field(
        default=None,
        description='Class to contrast the explained class with, as label or index: "why this and not that?"',
    )
    method: Method = Field(
        default=Method.GRADCAM,
        description="Heatmap method: gradcam, hirescam, layercam, gradcam++ or xgradcam.",
    )
    gradcam: bool = Field(default=True, description="false omits the explanation and the image.")
    alpha: float = Field(default=0.4, ge=0, le=1, description="Opacity of the heatmap on the image, 0 to 1.")
    colormap: Colormap = Field(default=Colormap.JET, description="Color map of the heatmap.")
    format: ImageFormat = Field(
        default=ImageFormat.JPEG, description="Encoding of the returned image: jpeg, png or webp."
    )
    max_side: int = Field(
        default=1024, ge=1, description="Longest side of the returned image in pixels; images are never enlarged."
    )
    heatmaps: bool = Field(default=False, description="true adds the raw heatmap of every listed class, as numbers.")
