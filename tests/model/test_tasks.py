"""The task of a model from its class and configuration, and models of tasks that are refused by name."""

import pytest
import transformers as t
from helpers.tasks import MODELS, tiny_task
from helpers.tiny_models import SMALL, randomized

import headprune_core as hp


@pytest.mark.parametrize(("task", "family"), MODELS)
def test_a_saved_model_is_loaded_with_its_task(task, family, tmp_path):
    model = tiny_task(task, family)
    model.save_pretrained(tmp_path)
    loaded = hp.PrunableModel.from_pretrained(tmp_path)
    assert loaded.task == task
    assert type(loaded.model) is type(model)
    assert len(loaded.labels) == (0 if task == "regression" else model.config.num_labels)


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ({"num_labels": 3}, "classification"),
        ({"num_labels": 1}, "regression"),
        ({"num_labels": 3, "problem_type": "regression"}, "regression"),
        ({"num_labels": 3, "problem_type": "single_label_classification"}, "classification"),
        ({"num_labels": 1, "problem_type": "multi_label_classification"}, "multi_label"),
    ],
)
def test_the_problem_type_decides(options, task):
    model = randomized(lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL, **options)))
    assert hp.PrunableModel(model).task == task


def test_one_class_is_no_classification():
    config = t.BertConfig(**SMALL, num_labels=1)
    config.problem_type = "single_label_classification"  # Transformers refuses it as an argument
    with pytest.raises(hp.HeadPruneError, match="two or more classes"):
        hp.PrunableModel(t.BertForSequenceClassification(config))


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (t.BertForQuestionAnswering, "an extractive question answering model"),
        (t.BertForMaskedLM, "a masked language model"),
    ],
)
def test_other_tasks_are_refused_by_name(build, kind, tmp_path):
    model = build(t.BertConfig(**SMALL))
    message = rf"is {kind}, which HeadPrune does not support; expected a model for text or image classification .*regression"
    with pytest.raises(hp.HeadPruneError, match=message):
        hp.PrunableModel(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(hp.HeadPruneError, match=message):
        hp.PrunableModel.from_pretrained(tmp_path)
