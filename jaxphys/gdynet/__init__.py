"""Graph dynamical networks: slow states of atoms from molecular dynamics."""
