"""`ravine bench`: ravine's steps and layers beside `ravine.reference`. What compares with others is in bench/."""
