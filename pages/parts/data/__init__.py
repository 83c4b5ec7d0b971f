"""Parts of the page Model & data: the form that loads a model and a dataset, and the plan of reading that it shows first."""
