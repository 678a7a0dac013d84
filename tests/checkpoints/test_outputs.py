"""Whether a network's outputs are class scores."""

import pytest

from src.checkpoints.outputs import check_that_it_classifies
from src.checkpoints.reading.weights_file import WeightsFile
from src.errors import ModelError, Remedy


@pytest.mark.parametrize(
    "said", [{}, {"num_classes": 512}, {"n_classes": 1}, {"num_classes": "5"}, {"emb_dim": 64}, {"seed": 512}]
)
def test_consistent_hyper_parameters_are_accepted(said: dict[str, object]) -> None:
    """Hyper-parameters that agree with the outputs, or do not mention them, are accepted."""
    check_that_it_classifies(WeightsFile({}, said), 512)


@pytest.mark.parametrize("said", [{"num_classes": 5}, {"embedding_size": 512}, {"emb_dim": 512, "lr": 1}])
def test_an_embedding_is_not_a_classifier(said: dict[str, object]) -> None:
    """Another number of classes, or an embedding of exactly this size, is asked about."""
    with pytest.raises(ModelError, match="an embedding") as error:
        check_that_it_classifies(WeightsFile({}, said), 512)
    assert error.value.remedies == (Remedy("labels"), Remedy("module"))
