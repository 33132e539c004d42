from hfvaccine.cli import main

if __name__ == "__main__":
    main()
