"""The sentences that a bundle of cxr-qc says about itself."""

TITLE = "Chest film quality: not a frontal chest film, inverted, turned, mirrored"

INTENDED_USE = (
    "Advice to the reader and the sending site that an image stored as a chest radiograph is not "
    "a frontal chest film, or was stored inverted, turned by 90, 180 or 270 degrees, or mirrored. "
    "It judges the image, never the patient."
)
NOT_FOR = (
    "Not a medical device. Not for diagnosis, not for refusing or delaying a study, not for "
    "correcting images by itself. Mirrored is a warning only, as dextrocardia exists."
)
DESCRIPTION = (
    "A residual network of 0.3 million parameters at 64 by 64 pixels that gives seven scores for "
    "one greyscale film: chest, inverted, turned (and by which quarter), mirrored."
)
AUTHORS = "The telerad authors"
COPYRIGHT = "Copyright the telerad authors; licensed under the Apache License 2.0"
DATA_SOURCE = (
    "Kermany et al. 2018 (Mendeley Data doi:10.17632/rscbjbr9sj, CC BY 4.0); ChestX-ray14 of the "
    "NIH Clinical Center (Wang et al. 2017), a subset; MedNIST by B. J. Erickson, Mayo Clinic "
    "(CC BY-SA 4.0), pictures that are not chest films; pictures made by the training itself."
)
REFERENCES = [
    "Kermany D, Zhang K, Goldbaum M. Labeled Optical Coherence Tomography (OCT) and Chest X-Ray "
    "Images for Classification. Mendeley Data, 2018. doi:10.17632/rscbjbr9sj",
    "Wang X et al. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks. CVPR 2017. "
    "Images: https://nihcc.app.box.com/v/ChestXray-NIHCC",
]

DATA_LICENSE = """Pictures that cxr-qc was trained on. None of them is in this bundle.

kermany        Kermany D, Zhang K, Goldbaum M (2018), Mendeley Data, doi:10.17632/rscbjbr9sj.
               Creative Commons Attribution 4.0 (CC BY 4.0). Changed: resampled to 64 by 64.
nih            ChestX-ray14, NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC.
               No restriction of use; the NIH Clinical Center is acknowledged as the provider and
               Wang X et al., CVPR 2017, is cited.
medical-mnist  MedNIST, compiled by B. J. Erickson, Department of Radiology, Mayo Clinic, from
               TCIA, the RSNA Bone Age Challenge and the NIH chest films.
               Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0) for the pictures.
made up        Noise, shapes, pages and broken-up films made by ai_assist/training.
"""

LICENSE = """Copyright the telerad authors

Licensed under the Apache License, Version 2.0 (the "License"); you may not use this bundle
except in compliance with the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software distributed under the
License is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND,
either express or implied. See the License for the specific language governing permissions and
limitations under the License.
"""

CARD_HEAD = """# Model card: cxr-qc {version}

{title}.

**Not a medical device. Status: research.** {intended_use}

**Not for:** {not_for}

## How loud it may be, and why

Mode `advise`: a badge beside the case and a note to the site. Models that say something about a
patient start in shadow until a site's own figures pass. This one says something about a file, its
labels are true by construction, and it can neither move, hold nor lower a case (a card of kind
`quality` is refused if an output of it stands above `advise`), so it may speak from the start.

## What it takes and gives

One film as (1, 1, 64, 64) float32 in [0, 1]: rescale and the first VOI window or LUT, MONOCHROME1
inverted, stretched to 64 by 64 (aspect is not kept), clipped at the 1st and 99th percentile
(`ai_assist/grey.py`, `film-grey` version 1). Seven scores in [0, 1]: `chest`, `inverted`,
`turned`, `turned_90`, `turned_180`, `turned_270` (counter-clockwise), `mirrored`. A film whose
`chest` score lies below its threshold is refused, and then no other score counts.

| score | raised | threshold | set by |
| --- | --- | --- | --- |
| chest | below | {chest} | fixed before measuring |
| inverted | from | {inverted} | fixed before measuring |
| turned | from | {turned} | fixed before measuring |
| mirrored | from | {mirrored} | at most 1 % of upright dev films in the worst group |

## How it was made

MONAI ResNet (one basic block a stage; 16, 32, 64, 128 channels), {parameters} parameters, {steps}
steps of AdamW with one cycle and averaged weights on one thread, seed {seed}. Every batch holds as
many films of each source. Each film is cropped, stretched, toned, framed, marked, softened and
grained by chance, then mirrored, turned and inverted by chance: those are the labels. Pictures
that are not chest films: five kinds of MedNIST, made-up noise, shapes, pages and limbs, and chest
films broken up (tiles shuffled, phases scrambled, small details). To make it again:

    telerad train cxr-qc --data DIR

"""

CARD_LIMITS = """## What these figures do not say

* *Only two sources of chest films* were at hand, one of small children and one of adults, both as
  JPEG of at most 320 pixels. Films of further sites were not measured here; the table of what was
  left out above is the nearest to it.
* Of real devices there were only the public DICOM samples of pydicom and its neighbours, looked at
  by hand (`tests/ai_assist/test_cxr_qc.py`): one computed radiograph of a chest (1955 by 1841) is
  judged right upright, inverted and at every turn; radiographs of a hip and an extremity are
  refused; of 31 other pictures of at least 128 pixels two are taken for a chest, a frontal CT
  scout view of a whole trunk and a lateral film of an animal's thorax (found turned).
* The demands on *external* sources (inverted at least 0.90, turned at least 0.93, false alarms at
  most 0.12, chest wrongly refused at most 0.02 on every source) could not be measured with
  external films.
* Lateral chest films, whole-body films of newborns, and radiographs of other regions than the hand
  (knee, spine, abdomen, skull) were not among the pictures: what it does with them is not known.
* Mirrored films are found only in sources it has learned from; in those left out it found none at
  this threshold (and gave no false alarm).
* MedNIST carries no patient numbers: the pictures were split by ranges of their numbering, so
  neighbours at the border of two ranges may be of one patient.
* The films of the left-out sources served to choose how strongly films are varied in training (a
  first, milder choice wrongly refused 14 % of adult AP films when trained on children only), so
  that table is not untouched by what it measures.
* NIH films were taken as upright and not mirrored, as no label says otherwise.
* Adults' films were 627 in all; a rate of 0 of 60 is compatible with 6 % (95 % interval).
"""
