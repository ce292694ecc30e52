"""The model that users get of a run: averages and statistics, and the domains' names, head and typical styles.

With labels the domains are the labels: they have the labels' names, and the typical style of a domain is that of the
images with its label. Recipe `paper` trains no domain head where all images are labelled, so that nothing could tell
the domain of a new picture; the head of the model is then a linear probe, fitted for each report on the frozen
features of labelled training images. The run's own networks, and so its losses, are left as they are.
"""

from __future__ import annotations

import torch

from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset
from open_tunit.model import TUNIT
from open_tunit.model_files.naming import Naming, names_of_labels
from open_tunit.networks.guides import Guide
from open_tunit.training.fitting.pretrained import fit_domain_head
from open_tunit.training.fitting.transitions import measure_statistics
from open_tunit.training.plan import Plan
from open_tunit.training.reports.samples import Samples
from open_tunit.training.steps.state import State


def snapshot(state: State, plan: Plan, dataset: Dataset, batches: Batches, samples: Samples) -> TUNIT:
    """The model after the state's steps, on its device and in eval mode."""
    config = plan.config
    model = TUNIT(config.model, fit=config.data.fit, background=config.data.background)
    if plan.supervision != "none":
        model.naming = Naming.plain(config.model.domains, names_of_labels(dataset.label_names))
    model.E.load_state_dict(_guide(state, plan, batches).state_dict())
    model.G.load_state_dict(state.G_ema.state_dict())
    model.to(batches.device).eval()
    nearest = plan.recipe.pretrained
    if batches.codes is not None:
        codes, domains = batches.codes.styles, torch.from_numpy(batches.codes.domains)
        model.take_domain_styles(codes, domains, nearest=nearest)
    elif plan.supervision == "none":
        samples.measure(model, nearest=nearest)
    else:
        _measure_labelled(model, plan, samples)
    return model


def _guide(state: State, plan: Plan, batches: Batches) -> Guide:
    """The averaged E with the batch-norm statistics that users get."""
    if plan.phase(max(state.step - 1, 0)).freeze_domains:
        return state.E_ema
    guide = state.guide()
    if plan.recipe.measure_statistics:
        measure_statistics(guide, batches, plan.config.seed)
    return guide


@torch.no_grad()
def _measure_labelled(model: TUNIT, plan: Plan, samples: Samples) -> None:
    """Set typical styles by the images' labels, by E's domains where there is none; fit an untrained domain head."""
    labels = torch.from_numpy(samples.labels).to(model.domain_styles.device)
    parts = [model.E.features(x) for x in samples.batches(labels.device)]
    features, colours = (torch.cat(column) for column in zip(*parts, strict=True))
    if plan.label_weight == 0:
        fit_domain_head(model.E.domain_head, features, labels)
    guidance = model.E.read(features, colours)
    domains = torch.where(labels >= 0, labels, guidance.logits.argmax(dim=1))
    model.take_domain_styles(guidance.style, domains, nearest=plan.recipe.pretrained)
