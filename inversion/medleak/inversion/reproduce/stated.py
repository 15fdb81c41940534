"""What MedPFL states (arXiv:2409.18907), by the names that sets have here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stated:
    """A row of Table II, as printed."""

    asr: str
    ssim: str
    mse: str
    seconds: str


_GRADIENTS = "inverting_gradients"
_UNTRAINED, _TRAINED = "ResNet-18 Untrained", "ResNet-18 Trained"

TABLE_II = {
    ("melanoma", _GRADIENTS, _UNTRAINED): Stated("76 %", "0.9473", "0.5301", "5940.94"),
    ("melanoma", _GRADIENTS, _TRAINED): Stated("72 %", "0.9389", "0.5621", "4880.58"),
    ("melanoma", "cpl", "CNN"): Stated("49 %", "0.9996", "4.1e-7", "50.8471"),
    ("melanoma", "dlg", "CNN"): Stated("47 %", "0.9569", "6.28e-3", "60.1282"),
    ("melanoma", "idlg", "CNN"): Stated("47 %", "0.9667", "2.83e-4", "65.6132"),
    ("cxr", _GRADIENTS, _UNTRAINED): Stated("75 %", "0.9305", "0.6763", "5908.71"),
    ("cxr", _GRADIENTS, _TRAINED): Stated("30 %", "0.9252", "0.6954", "4967.69"),
    ("cxr", "cpl", "CNN"): Stated("55 %", "0.9999", "2.88e-7", "92.2457"),
    ("cxr", "dlg", "CNN"): Stated("55 %", "0.9785", "3.39e-3", "125.6201"),
    ("cxr", "idlg", "CNN"): Stated("56 %", "0.9957", "1.42e-4", "81.4562"),
    ("brain_mri", _GRADIENTS, _UNTRAINED): Stated("73 %", "0.9491", "0.6061", "5953.77"),
    ("brain_mri", _GRADIENTS, _TRAINED): Stated("13 %", "0.9168", "0.8728", "4933.24"),
    ("brain_mri", "cpl", "CNN"): Stated("76 %", "0.9999", "4.57e-7", "103.126"),
    ("brain_mri", "dlg", "CNN"): Stated("71 %", "0.9445", "1.51e-2", "116.485"),
    ("brain_mri", "idlg", "CNN"): Stated("72 %", "0.9972", "3.95e-5", "75.7268"),
}

TABLE_III = {
    ("melanoma", "attack"): ("0.0762", "0.50"),
    ("melanoma", "100"): ("0.1306", "0.0154"),
    ("melanoma", "200"): ("0.1468", "0.0131"),
    ("melanoma", "300"): ("0.1497", "0.0121"),
    ("melanoma", "400"): ("0.1503", "0.0101"),
    ("cxr", "attack"): ("0.0641", "0.55"),
    ("cxr", "100"): ("0.0013", "0.9815"),
    ("cxr", "200"): ("0.0157", "0.7410"),
    ("cxr", "300"): ("0.0206", "0.7000"),
    ("cxr", "400"): ("0.0578", "0.4605"),
    ("brain_mri", "attack"): ("0.0586", "0.75"),
    ("brain_mri", "100"): ("0.0207", "0.6657"),
    ("brain_mri", "200"): ("0.0686", "0.2383"),
    ("brain_mri", "300"): ("0.0300", "0.3661"),
    ("brain_mri", "400"): ("0.1705", "0.0699"),
    ("cifar10", "attack"): ("0.0222", "0.86"),
    ("cifar10", "100"): ("0.0265", "0.4965"),
    ("cifar10", "200"): ("0.0292", "0.4366"),
    ("cifar10", "300"): ("0.0346", "0.3270"),
    ("cifar10", "400"): ("0.0475", "0.2295"),
}
"""(set, noise level or ``attack``) to (MSE, SSIM)."""

TABLE_IV = (
    ("melanoma", "[0.7160, 0.5668, 0.5441]", "[0.2207, 0.2087, 0.2222]"),
    ("cxr", "[0.4949, 0.4950, 0.4953]", "[0.2687, 0.2687, 0.2688]"),
    ("brain_mri", "[0.1869, 0.1869, 0.1870]", "[0.1763, 0.1763, 0.1763]"),
    ("cifar10", "[0.4914, 0.4822, 0.4467]", "[0.2471, 0.2434, 0.2615]"),
)

TABLE_V = (
    ("original", "0.82", "0.97", "0.95", "0.96"),
    ("recovered", "0.74", "0.95", "0.87", "0.74"),
    ("recovered at level 100", "0.12", "0.96", "0.90", "0.92"),
    ("recovered at level 400", "0.09", "0.93", "0.88", "0.87"),
)
