"""raster-vision: sliding windows over a RasterioSource, a learner's predictions, rims discarded."""

from job import Job, say
from rastervision.core.data import (
    ClassConfig,
    RasterioSource,
    Scene,
    SemanticSegmentationLabels,
)
from rastervision.core.utils.misc import calculate_required_padding
from rastervision.pytorch_learner import (
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationLearner,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationSlidingWindowGeoDataset,
)

job = Job.given()
classes = ClassConfig(names=[str(code) for code in job.codes])
scene = Scene(id="scene", raster_source=RasterioSource(job.scene))
padding = calculate_required_padding(
    scene.extent.size, job.chip, job.stride, "both", crop_sz=job.margin
)
windows = SemanticSegmentationSlidingWindowGeoDataset(
    scene, job.chip, job.stride, padding=padding, pad_direction="both", normalize=False
)
config = SemanticSegmentationLearnerConfig(
    data=SemanticSegmentationGeoDataConfig(
        class_config=classes, num_workers=0, img_channels=len(job.gain)
    )
)
learner = SemanticSegmentationLearner(config, model=job.network(scaled=True), training=False)
learner.model.eval()
predictions = learner.predict_dataset(
    windows,
    raw_out=False,
    numpy_out=True,
    dataloader_kw={"batch_size": job.batch, "num_workers": 0},
    progress_bar=False,
)
labels = SemanticSegmentationLabels.from_predictions(
    windows.windows,
    predictions,
    extent=scene.extent,
    num_classes=len(classes),
    crop_sz=job.margin,
)
job.write(labels.get_label_arr(scene.extent))
y, x = (job.margin - pad for pad in padding)
print(f"seams: {y % job.stride} {x % job.stride}")
say("rastervision", "torch")
