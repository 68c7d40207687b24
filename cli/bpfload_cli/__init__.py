"""The command `bpfload`: bpftool's words, on the library `bpfload`.

::

    main      from the words of the command line to an exit status
    table     all commands
    app       commands found by prefix and imported when they are run
    session   the flags that every command knows, and where its output goes
    grammar   keywords and selectors
    output    one view, two printers: text and JSON
    layouts   what the text of each kind of view looks like
    usage     help
    commands  one module for each command
"""
