"""What a container made by ``monai-deploy package`` runs: the application of the package beside this file."""

from medclipsam_monai.deploy.__main__ import main

main()
