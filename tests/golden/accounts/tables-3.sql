-- A package is its people's alone until its admin makes it public.

CREATE TABLE public_packages (
    package TEXT PRIMARY KEY
) STRICT;
