"""Models whose logits depend on padding, or on the other examples of a batch."""

import torch
import transformers as t


class CountsPadding(t.BertForSequenceClassification):
    """Adds the mean over all positions, padding included."""

    def forward(self, input_ids, attention_mask=None, **more):
        result = super().forward(input_ids, attention_mask=attention_mask, **more)
        states = self.bert(input_ids, attention_mask=attention_mask)[0]
        result.logits = result.logits + states[..., :1].mean(1) * torch.tensor([1.0, 0.0, -1.0])
        return result


class SharesBatch(t.BertForSequenceClassification):
    """Subtracts the mean over the batch, like experts whose capacity all examples share."""

    def forward(self, *args, **more):
        result = super().forward(*args, **more)
        result.logits = result.logits - 0.5 * result.logits.mean(0) * (len(result.logits) > 1)
        return result
